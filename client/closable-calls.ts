// Lets a connection be closed while calls wait to be tried again. The SDK tries again from a timer of its own; on a
// channel that is closed by then gRPC throws there, where nobody can catch it, and the call never settles.
import { defaultGrpcRetryOptions, makeGrpcRetryInterceptor } from '@temporalio/client';
import type { ConnectionOptions } from '@temporalio/client';

type Interceptor = NonNullable<ConnectionOptions['interceptors']>[number];
type Call = ReturnType<Parameters<Interceptor>[1]>;

/** gRPC status CANCELLED, which is not tried again. */
const CANCELLED = 1;

export interface ClosableCalls {
  /** For ConnectionOptions, in this order: the SDK's retries, and what ends them. */
  readonly interceptors: Interceptor[];
  /** From now on each call, and each next try of one, ends as cancelled. Comes before Connection.close(). */
  readonly end: () => void;
}

export function closableCalls(): ClosableCalls {
  let ended = false;
  // gRPC asks for its class and uses its interface, as the SDK's own interceptor does
  const gate: Interceptor = (options, nextCall) =>
    (ended ? cancelledCall() : nextCall(options)) as ReturnType<Interceptor>;
  return {
    interceptors: [makeGrpcRetryInterceptor(defaultGrpcRetryOptions()), gate],
    end: () => (ended = true),
  };
}

/** Ends when it is started, without having reached the channel: no message, then the status, as a unary call must. */
function cancelledCall(): Call {
  return {
    start: (metadata, listener) => {
      listener?.onReceiveMessage?.(null);
      listener?.onReceiveStatus?.({ code: CANCELLED, details: 'the connection was closed', metadata });
    },
    cancelWithStatus: () => undefined,
    getPeer: () => '',
    sendMessage: () => undefined,
    sendMessageWithContext: () => undefined,
    startRead: () => undefined,
    halfClose: () => undefined,
    getAuthContext: () => null,
  };
}
