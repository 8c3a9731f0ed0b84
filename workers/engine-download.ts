// A process of its own for the SDK's download of Temporal, whose only public way in also starts what it downloads:
// the parent bounds it in time and kills it with its process group. argv: directory, version. Exit 1 with one line.
const [downloadDir, version] = process.argv.slice(2);
if (downloadDir === undefined || version === undefined) throw new Error('a directory and a version are wanted');
try {
  // Loaded here, so that an installation without it says so in one line as well
  const { TestWorkflowEnvironment } = await import('@temporalio/testing');
  const { DefaultLogger, Runtime } = await import('@temporalio/worker');
  Runtime.install({ logger: new DefaultLogger('ERROR'), shutdownSignals: [] });
  const executable = { type: 'cached-download', downloadDir, version } as const;
  const environment = await TestWorkflowEnvironment.createLocal({ server: { executable, ip: '127.0.0.1' } });
  await environment.teardown();
} catch (error) {
  process.stderr.write(`${String(error).replaceAll('\n', ' ')}\n`, () => process.exit(1));
}
