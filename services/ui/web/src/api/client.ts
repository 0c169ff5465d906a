import { type Client, Code, ConnectError, createClient, type Interceptor } from '@connectrpc/connect';
import { createGrpcWebTransport } from '@connectrpc/connect-web';
import { ExperimentService } from '../proto/weightslab/v1/experiment_pb';
import { SampleService } from '../proto/weightslab/v1/sample_pb';
import { SignalService } from '../proto/weightslab/v1/signal_pb';

const UNARY_TIMEOUT_MS = 30_000;

export interface Api {
  readonly experiments: Client<typeof ExperimentService>;
  readonly samples: Client<typeof SampleService>;
  readonly signals: Client<typeof SignalService>;
}

export interface ApiOptions {
  readonly serverUrl: string;
  readonly token: () => string;
  /** Told when a call was refused because the session is over. */
  readonly onUnauthenticated: () => void;
}

export function createApi({ serverUrl, token, onUnauthenticated }: ApiOptions): Api {
  const authorize: Interceptor = (next) => async (request) => {
    request.header.set('authorization', `Bearer ${token()}`);
    try {
      return await next(request);
    } catch (error) {
      if (ConnectError.from(error).code === Code.Unauthenticated) onUnauthenticated();
      throw error;
    }
  };
  const transport = createGrpcWebTransport({
    baseUrl: serverUrl,
    useBinaryFormat: true,
    defaultTimeoutMs: UNARY_TIMEOUT_MS,
    interceptors: [authorize],
    fetch: (input, init) => fetch(input, { ...init, credentials: 'include' }),
  });
  return {
    experiments: createClient(ExperimentService, transport),
    samples: createClient(SampleService, transport),
    signals: createClient(SignalService, transport),
  };
}

/** What went wrong, as a sentence for people. */
export function reason(error: unknown): string {
  const known = ConnectError.from(error);
  if (known.code === Code.Unknown && known.cause instanceof TypeError) return 'The gateway does not answer.';
  if (known.code === Code.DeadlineExceeded) return known.rawMessage || 'There was no answer in time.';
  return known.rawMessage || `The call ended with ${Code[known.code]}.`;
}

export function isCode(error: unknown, code: Code): boolean {
  return ConnectError.from(error).code === code;
}
