/** protobuf-ts, binary and text. */
import { GrpcWebFetchTransport } from '@protobuf-ts/grpcweb-transport';
import { RpcError, type RpcOptions, type ServerStreamingCall } from '@protobuf-ts/runtime-rpc';
import { ExperimentServiceClient } from '../build/ts/weightslab/v1/experiment.client';
import { WatchRequest } from '../build/ts/weightslab/v1/experiment';
import { QuerySamplesRequest } from '../build/ts/weightslab/v1/sample';
import { SampleServiceClient } from '../build/ts/weightslab/v1/sample.client';
import { SignalServiceClient } from '../build/ts/weightslab/v1/signal.client';
import type { Client, Options } from './client';
import { Failure } from './client';

function failure(error: unknown): Failure {
  if (!(error instanceof RpcError)) throw error;
  // This library hands the text on as it stands on the wire.
  return new Failure(error.code, decodeURIComponent(error.message), Boolean(error.meta['grpc-status-details-bin']));
}

async function* replies<T extends object>(call: ServerStreamingCall<object, T>): AsyncIterable<T> {
  try {
    yield* call.responses;
    await call;
  } catch (error) {
    throw failure(error);
  }
}

export function protobufTsClient(baseUrl: string, format: 'binary' | 'text'): Client {
  const transport = new GrpcWebFetchTransport({ baseUrl, format });
  const samples = new SampleServiceClient(transport);
  const signals = new SignalServiceClient(transport);
  const experiments = new ExperimentServiceClient(transport);
  const of = (options: Options): RpcOptions => ({
    meta: options.metadata,
    abort: options.signal,
    timeout: options.timeoutMs,
  });
  return {
    async query(request, options) {
      try {
        const call = samples.querySamples(QuerySamplesRequest.create(request), of(options));
        const [headers, reply] = await Promise.all([call.headers, call.response, call.status]);
        return { uids: reply.uids, requestId: String(headers['x-request-id'] ?? '') };
      } catch (error) {
        throw failure(error);
      }
    },
    async *exportPoints(request, options) {
      const call = signals.exportPoints({ ...request, keys: [] }, of(options));
      for await (const chunk of replies(call)) yield chunk.values.byteLength / 8;
    },
    async *watch(request, options) {
      const call = experiments.watch(WatchRequest.create(request), of(options));
      for await (const reply of replies(call)) yield reply.curves.length;
    },
    async listExperiments(options) {
      try {
        return (await experiments.listExperiments({}, of(options)).response).experiments.length;
      } catch (error) {
        throw failure(error);
      }
    },
  };
}
