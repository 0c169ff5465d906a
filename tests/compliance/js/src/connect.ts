/** Connect-ES over gRPC-Web; binary only. */
import type { DescMethodStreaming, DescMethodUnary } from '@bufbuild/protobuf';
import { toBinary } from '@bufbuild/protobuf';
import { Code, ConnectError, createClient } from '@connectrpc/connect';
import { createGrpcWebTransport } from '@connectrpc/connect-web';
import { ExperimentService } from '../build/es/weightslab/v1/experiment_pb';
import { QuerySamplesRequestSchema, SampleService } from '../build/es/weightslab/v1/sample_pb';
import { SignalService } from '../build/es/weightslab/v1/signal_pb';
import { create } from '@bufbuild/protobuf';
import type { Client, Options } from './client';
import { Failure } from './client';

export type { DescMethodStreaming, DescMethodUnary };

function failure(error: unknown): Failure {
  const known = ConnectError.from(error);
  return new Failure(
    known.code === Code.Canceled ? 'CANCELLED' : Code[known.code].replace(/(?<=.)([A-Z])/g, '_$1').toUpperCase(),
    known.rawMessage,
    known.metadata.has('grpc-status-details-bin') || known.details.length > 0,
  );
}

export function connectClient(baseUrl: string): Client {
  const transport = createGrpcWebTransport({ baseUrl });
  const samples = createClient(SampleService, transport);
  const signals = createClient(SignalService, transport);
  const experiments = createClient(ExperimentService, transport);
  const of = (options: Options) => ({
    headers: options.metadata,
    signal: options.signal,
    timeoutMs: options.timeoutMs,
  });
  async function* caught<T>(stream: AsyncIterable<T>): AsyncIterable<T> {
    try {
      yield* stream;
    } catch (error) {
      throw failure(error);
    }
  }
  return {
    async query(request, options) {
      let requestId = '';
      try {
        const reply = await samples.querySamples(request, {
          ...of(options),
          onHeader: (headers) => {
            requestId = headers.get('x-request-id') ?? '';
          },
        });
        return { uids: reply.uids, requestId };
      } catch (error) {
        throw failure(error);
      }
    },
    async *exportPoints(request, options) {
      for await (const chunk of caught(signals.exportPoints(request, of(options)))) yield chunk.values.byteLength / 8;
    },
    async *watch(request, options) {
      for await (const reply of caught(experiments.watch(request, of(options)))) yield reply.curves.length;
    },
    async listExperiments(options) {
      try {
        return (await experiments.listExperiments({}, of(options))).experiments.length;
      } catch (error) {
        throw failure(error);
      }
    },
  };
}

export function sizeOfQuery(request: { experiment: string; filter: string }): number {
  return toBinary(QuerySamplesRequestSchema, create(QuerySamplesRequestSchema, request)).byteLength;
}
