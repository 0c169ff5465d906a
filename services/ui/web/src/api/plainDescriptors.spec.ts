import { createFileRegistry, type DescField, type DescFile, type DescMessage } from '@bufbuild/protobuf';
import type { FileDescriptorProto } from '@bufbuild/protobuf/wkt';
import { describe, expect, it } from 'vitest';
import { hydrate, plainDescriptor } from '../../plainDescriptors';
import { file_weightslab_v1_common } from '../proto/weightslab/v1/common_pb';
import commonText from '../proto/weightslab/v1/common_pb.ts?raw';
import { file_weightslab_v1_experiment } from '../proto/weightslab/v1/experiment_pb';
import experimentText from '../proto/weightslab/v1/experiment_pb.ts?raw';
import { file_weightslab_v1_sample } from '../proto/weightslab/v1/sample_pb';
import sampleText from '../proto/weightslab/v1/sample_pb.ts?raw';
import { file_weightslab_v1_signal } from '../proto/weightslab/v1/signal_pb';
import signalText from '../proto/weightslab/v1/signal_pb.ts?raw';

const FILES: readonly (readonly [DescFile, string])[] = [
  [file_weightslab_v1_common, commonText],
  [file_weightslab_v1_experiment, experimentText],
  [file_weightslab_v1_sample, sampleText],
  [file_weightslab_v1_signal, signalText],
];

/** What a field says of itself, with names instead of what it refers to. */
function factsOfField({ name, number, localName, presence, oneof, fieldKind, ...field }: DescField) {
  const {
    message,
    enum: enumeration,
    scalar,
    listKind,
    mapKind,
    mapKey,
    packed,
    longAsString,
  } = field as Partial<Record<string, unknown> & { message: DescMessage; enum: { typeName: string } }>;
  return {
    ...{ name, number, localName, presence, fieldKind, oneof: oneof?.localName },
    ...{ scalar, listKind, mapKind, mapKey, packed, longAsString },
    refersTo: [message?.typeName, enumeration?.typeName],
  };
}

function factsOfMessage(message: DescMessage): unknown {
  return {
    typeName: message.typeName,
    fields: message.fields.map(factsOfField),
    oneofs: message.oneofs.map(({ localName }) => localName),
    nested: message.nestedMessages.map(factsOfMessage),
  };
}

function factsOf(file: DescFile): unknown {
  return {
    ...{ name: file.name, edition: file.edition },
    messages: file.messages.map(factsOfMessage),
    enums: file.enums.map(({ typeName, open, values }) => ({
      ...{ typeName, open },
      values: values.map(({ localName, number }) => [localName, number]),
    })),
    services: file.services.map(({ typeName, methods }) => ({
      typeName,
      methods: methods.map((method) => [
        ...[method.name, method.localName, method.methodKind, method.idempotency],
        ...[method.input.typeName, method.output.typeName],
      ]),
    })),
  };
}

describe('descriptors as plain data', () => {
  it.each(FILES.map(([file, text]) => [file.name, file, text] as const))(
    'say what %s says',
    (_, file, text) => {
      const base64 = /fileDesc\(\s*"([^"]+)"/.exec(text)?.[1] ?? '';
      const root = Object.assign(hydrate(plainDescriptor(base64)), {
        $typeName: 'google.protobuf.FileDescriptorProto',
        dependency: file.dependencies.map(({ proto }) => proto.name),
      }) as unknown as FileDescriptorProto;
      const registry = createFileRegistry(root, (name) =>
        file.dependencies.find(({ proto }) => proto.name === name),
      );
      const made = registry.getFile(`${file.name}.proto`);
      expect(made).toBeDefined();
      expect(factsOf(made as DescFile)).toEqual(factsOf(file));
    },
  );
});
