import { fromBinary } from '@bufbuild/protobuf';
import { FileDescriptorProtoSchema } from '@bufbuild/protobuf/wkt';

/** What is set in a descriptor, as plain data. */
export type Plain = { [name: string]: Plain | Plain[] | string | number | boolean | string[] | number[] };

/**
 * The descriptor in a generated file, as plain data. Raises when it holds what plain data cannot say, as an option
 * that the runtime does not know.
 */
export function plainDescriptor(base64: string): Plain {
  const bytes = Uint8Array.from(atob(base64), (character) => character.charCodeAt(0));
  return strip(fromBinary(FileDescriptorProtoSchema, bytes)) as Plain;
}

function strip(value: unknown): unknown {
  if (Array.isArray(value)) return value.map(strip);
  if (typeof value !== 'object' || value === null) return value;
  const found: Record<string, unknown> = {};
  for (const [name, part] of Object.entries(value)) {
    if (name === '$typeName' || part === undefined || (Array.isArray(part) && part.length === 0)) continue;
    if (name === '$unknown' || part instanceof Uint8Array || typeof part === 'bigint')
      throw new Error(`the descriptor holds ${name}, which is no plain data`);
    found[name] = strip(part);
  }
  return found;
}

/** Makes messages of plain data: each has the defaults of all kinds of descriptors beneath what is set in it. */
export function hydrate(plain: Plain): Record<string, unknown> {
  const defaults = {
    syntax: '',
    edition: 0,
    package: '',
    label: 1,
    typeName: '',
    extendee: '',
    defaultValue: '',
    jsonName: '',
    oneofIndex: 0,
    proto3Optional: false,
    dependency: [],
    publicDependency: [],
    messageType: [],
    enumType: [],
    extension: [],
    service: [],
    field: [],
    nestedType: [],
    oneofDecl: [],
    value: [],
    method: [],
  };
  const message = (part: unknown): unknown => {
    if (typeof part !== 'object') return part;
    if (Array.isArray(part)) return part.map(message);
    const made = Object.create(defaults);
    for (const name in part) made[name] = message((part as Plain)[name]);
    return made;
  };
  return message(plain) as Record<string, unknown>;
}
