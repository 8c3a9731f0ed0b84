// A gate before a real engine, as a cluster has one: HTTP/2 over TLS with certificates on both sides, and an API key.
// What passes is handed on as it is, trailers too, which is where gRPC says how a call ended.
import { execFileSync } from 'node:child_process';
import { readFileSync, writeFileSync } from 'node:fs';
import { connect, constants, createSecureServer } from 'node:http2';
import type { ClientHttp2Session, IncomingHttpHeaders, ServerHttp2Stream } from 'node:http2';
import type { AddressInfo } from 'node:net';
import { join } from 'node:path';

export interface Certificates {
  readonly authority: string;
  readonly server: { readonly key: string; readonly certificate: string };
  readonly client: { readonly key: string; readonly certificate: string };
}

/** An authority of its own, and a certificate for `localhost` and for a client by it: paths of PEM files. */
export function makeCertificates(directory: string): Certificates {
  const openssl = (...argv: string[]): void => void execFileSync('openssl', argv, { cwd: directory, stdio: 'ignore' });
  const curve = ['-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:prime256v1', '-nodes'];
  openssl('req', '-x509', ...curve, '-keyout', 'ca.key', '-out', 'ca.pem', '-days', '2', '-subj', '/CN=test authority');
  const issue = (name: string, extension: string): { key: string; certificate: string } => {
    writeFileSync(join(directory, `${name}.ext`), extension);
    openssl('req', ...curve, '-keyout', `${name}.key`, '-out', `${name}.csr`, '-subj', `/CN=${name}`);
    const by = ['-CA', 'ca.pem', '-CAkey', 'ca.key', '-CAcreateserial', '-days', '2'];
    openssl('x509', '-req', '-in', `${name}.csr`, ...by, '-extfile', `${name}.ext`, '-out', `${name}.pem`);
    return { key: join(directory, `${name}.key`), certificate: join(directory, `${name}.pem`) };
  };
  return {
    authority: join(directory, 'ca.pem'),
    server: issue('server', 'subjectAltName=DNS:localhost'),
    client: issue('client', 'extendedKeyUsage=clientAuth'),
  };
}

export interface Front {
  readonly address: string;
  /** Calls that were let through. */
  readonly calls: () => number;
  readonly close: () => void;
}

export async function startFront(engineAddress: string, certificates: Certificates, apiKey: string): Promise<Front> {
  const engine = connect(`http://${engineAddress}`);
  let calls = 0;
  const server = createSecureServer({
    key: readFileSync(certificates.server.key),
    cert: readFileSync(certificates.server.certificate),
    ca: readFileSync(certificates.authority),
    requestCert: true,
    rejectUnauthorized: true,
  });
  server.on('stream', (stream, headers) => {
    stream.on('error', () => stream.destroy());
    if (headers.authorization !== `Bearer ${apiKey}`) {
      stream.respond({ ':status': 200, 'content-type': 'application/grpc', 'grpc-status': '16' }, { endStream: true });
      return;
    }
    calls += 1;
    handOn(engine, stream, headers);
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const close = (): void => {
    server.close();
    engine.destroy();
  };
  return { address: `localhost:${(server.address() as AddressInfo).port}`, calls: () => calls, close };
}

function handOn(engine: ClientHttp2Session, stream: ServerHttp2Stream, headers: IncomingHttpHeaders): void {
  const call = engine.request({ ...headers, ':authority': 'engine', ':scheme': 'http' });
  let trailers: IncomingHttpHeaders = {};
  call.on('response', (answer, flags) => {
    const isEnd = (flags & constants.NGHTTP2_FLAG_END_STREAM) !== 0;
    stream.respond(answer, { waitForTrailers: !isEnd, endStream: isEnd });
    if (!isEnd) call.pipe(stream);
  });
  call.on('trailers', (last) => (trailers = last));
  call.on('error', () => stream.destroy());
  stream.on('wantTrailers', () => stream.sendTrailers(trailers));
  stream.on('close', () => call.close(constants.NGHTTP2_CANCEL));
  stream.pipe(call);
}
