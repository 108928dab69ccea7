/** The import rules of the house (docs/decisions/0001-house.md). `npm run boundaries` fails on any breach. */
const core = '^shared/(?!.*\\.test\\.ts$)'
module.exports = {
  forbidden: [
    {
      name: 'shared-is-pure',
      comment: 'shared/ runs in Workers, Node and a browser: no node:*, no cloudflare:*, no I/O library.',
      severity: 'error',
      from: { path: core },
      to: { dependencyTypes: ['core'] },
    },
    {
      name: 'shared-dependencies',
      comment: 'shared/ may import zod (with its OpenAPI binding in shared/api) and @noble/hashes, nothing else.',
      severity: 'error',
      from: { path: core },
      to: { path: 'node_modules/', pathNot: 'node_modules/(zod|@noble/hashes)/' },
    },
    {
      name: 'shared-imports-only-shared',
      severity: 'error',
      from: { path: core },
      to: { path: '^(coordinator|gpu-worker|demo|cli|test)/' },
    },
    {
      name: 'coordinator-and-worker-meet-in-shared',
      severity: 'error',
      from: { path: '^coordinator/(?!.*\\.test\\.ts$)' },
      to: { path: '^(gpu-worker|demo|cli|test)/' },
    },
    {
      name: 'worker-and-coordinator-meet-in-shared',
      severity: 'error',
      from: { path: '^gpu-worker/(?!.*\\.test\\.ts$)' },
      to: { path: '^(coordinator|demo|cli|test)/' },
    },
    {
      name: 'only-hosts-know-the-host',
      comment: 'State machines take time, randomness, storage and transport as arguments.',
      severity: 'error',
      from: { path: '^coordinator/(run|dataset|directory|api)/(?!.*\\.test\\.ts$)' },
      to: { dependencyTypes: ['core'] },
    },
    { name: 'no-circular', severity: 'error', from: {}, to: { circular: true, viaOnly: { dependencyTypesNot: ['type-only'] } } },
    { name: 'no-unresolved', severity: 'error', from: {}, to: { couldNotResolve: true } },
  ],
  options: {
    doNotFollow: { path: 'node_modules' },
    tsPreCompilationDeps: true,
    tsConfig: { fileName: 'tsconfig.json' },
    enhancedResolveOptions: { exportsFields: ['exports'], conditionNames: ['import', 'node', 'default', 'types'] },
  },
}
