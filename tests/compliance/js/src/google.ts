/** Google's grpc-web, binary and text. Its messages are written and read by another library: it takes any. */
import type { DescMessage, MessageInitShape, MessageShape } from '@bufbuild/protobuf';
import { create, fromBinary, toBinary } from '@bufbuild/protobuf';
import * as grpcWeb from 'grpc-web';
import * as experiment from '../build/es/weightslab/v1/experiment_pb';
import * as sample from '../build/es/weightslab/v1/sample_pb';
import * as signal from '../build/es/weightslab/v1/signal_pb';
import type { Client, Options } from './client';
import { Failure } from './client';

const STATUS = Object.fromEntries(
  Object.entries(grpcWeb.StatusCode).map(([name, code]) => [code as number, name]),
) as Record<number, string>;

function failure(error: grpcWeb.RpcError): Failure {
  return new Failure(STATUS[error.code] ?? String(error.code), error.message, 'grpc-status-details-bin' in error.metadata);
}

class Method<I extends DescMessage, O extends DescMessage> {
  private readonly descriptor: grpcWeb.MethodDescriptor<MessageShape<I>, MessageShape<O>>;
  private readonly address: string;

  constructor(
    private readonly client: grpcWeb.GrpcWebClientBase,
    baseUrl: string,
    path: string,
    kind: string,
    private readonly input: I,
    output: O,
  ) {
    this.address = baseUrl + path;
    this.descriptor = new grpcWeb.MethodDescriptor(
      path,
      kind,
      Object as never,
      Object as never,
      (message: MessageShape<I>) => toBinary(input, message),
      (bytes: Uint8Array) => fromBinary(output, bytes),
    );
  }

  private metadata(options: Options): grpcWeb.Metadata {
    // This library's deadline is a moment.
    const deadline = options.timeoutMs ? { deadline: String(Date.now() + options.timeoutMs) } : {};
    return { ...options.metadata, ...deadline } as grpcWeb.Metadata;
  }

  call(init: MessageInitShape<I>, options: Options): Promise<{ reply: MessageShape<O>; requestId: string }> {
    return new Promise((resolve, reject) => {
      let requestId = '';
      const call = this.client.rpcCall(
        this.address,
        create(this.input, init),
        this.metadata(options),
        this.descriptor,
        (error, reply) => (error ? reject(failure(error)) : queueMicrotask(() => resolve({ reply, requestId }))),
      );
      call.on('metadata', (metadata) => {
        requestId = metadata['x-request-id'] ?? requestId;
      });
    });
  }

  async *stream(init: MessageInitShape<I>, options: Options): AsyncIterable<MessageShape<O>> {
    const waiting: (MessageShape<O> | Failure | null)[] = [];
    let wake = () => {};
    const put = (item: MessageShape<O> | Failure | null) => {
      waiting.push(item);
      wake();
    };
    const call = this.client.serverStreaming(
      this.address,
      create(this.input, init),
      this.metadata(options),
      this.descriptor,
    );
    call.on('data', put);
    call.on('error', (error) => put(failure(error)));
    call.on('end', () => put(null));
    options.signal?.addEventListener('abort', () => {
      call.cancel();
      put(new Failure('CANCELLED', 'cancelled by the caller', false));
    });
    while (true) {
      while (waiting.length === 0) await new Promise<void>((resolve) => (wake = resolve));
      const item = waiting.shift();
      if (item instanceof Failure) throw item;
      if (!item) return;
      yield item;
    }
  }
}

export function googleClient(baseUrl: string, format: 'binary' | 'text'): Client {
  const client = new grpcWeb.GrpcWebClientBase({ format });
  const unary = 'unary';
  const streaming = 'server_streaming';
  const query = new Method(
    client,
    baseUrl,
    '/weightslab.v1.SampleService/QuerySamples',
    unary,
    sample.QuerySamplesRequestSchema,
    sample.QuerySamplesResponseSchema,
  );
  const list = new Method(
    client,
    baseUrl,
    '/weightslab.v1.ExperimentService/ListExperiments',
    unary,
    experiment.ListExperimentsRequestSchema,
    experiment.ListExperimentsResponseSchema,
  );
  const exports = new Method(
    client,
    baseUrl,
    '/weightslab.v1.SignalService/ExportPoints',
    streaming,
    signal.ExportPointsRequestSchema,
    signal.ExportPointsResponseSchema,
  );
  const watch = new Method(
    client,
    baseUrl,
    '/weightslab.v1.ExperimentService/Watch',
    streaming,
    experiment.WatchRequestSchema,
    experiment.WatchResponseSchema,
  );
  return {
    async query(request, options) {
      const { reply, requestId } = await query.call(request, options);
      return { uids: reply.uids, requestId };
    },
    async *exportPoints(request, options) {
      for await (const chunk of exports.stream(request, options)) yield chunk.values.byteLength / 8;
    },
    async *watch(request, options) {
      for await (const reply of watch.stream(request, options)) yield reply.curves.length;
    },
    async listExperiments(options) {
      return (await list.call({}, options)).reply.experiments.length;
    },
  };
}
