/** The Worker as `wrangler.toml` describes it. */
export interface Worker {
  readonly compatibilityDate: string
  readonly compatibilityFlags: readonly string[]
  /** Classes of Durable Objects by the names they are bound to. */
  readonly objects: readonly { readonly binding: string; readonly className: string }[]
}

/** What differs from one cluster to the next, and from one instance to the next. */
export interface Instance {
  /** File of the Worker's module, relative to the config. */
  readonly bundle: string
  /** Folder of this instance's databases, which the bucket's copies replace. */
  readonly disk: string
  /** `host:port` where the API is served. */
  readonly listen: string
  readonly clusterBucket: string
  /** `host:port` where the other instances reach this one. */
  readonly clusterAddress: string
  readonly clusterAdvertise: string | undefined
  readonly clusterKey: string
  /** Names of the environment variables that the Worker is to see. */
  readonly settings: readonly string[]
}

/** A text of Cap'n Proto. @throws RangeError for characters that no setting has */
export function capnpText(text: string): string {
  if (!/^[\x20-\x7e]*$/.test(text)) throw new RangeError('a setting is printable ASCII')
  return `"${text.replaceAll('\\', '\\\\').replaceAll('"', '\\"')}"`
}

const list = (entries: readonly string[]): string => `[\n${entries.map((entry) => `    ${entry},\n`).join('')}  ]`

/**
 * A config of workerd for one instance of a cluster (https://github.com/cloudflare/workerd, src/workerd/server/workerd.capnp).
 * The credentials of the bucket are not in it: workerd and the Worker read them from the environment.
 */
export function clusterConfig(worker: Worker, instance: Instance): string {
  const bindings = [
    ...worker.objects.map(
      ({ binding, className }) =>
        `(name = ${capnpText(binding)}, durableObjectNamespace = (className = ${capnpText(className)}))`,
    ),
    ...instance.settings.map((name) => `(name = ${capnpText(name)}, fromEnvironment = ${capnpText(name)})`),
  ]
  const namespaces = worker.objects.map(
    ({ className }) =>
      `(className = ${capnpText(className)}, uniqueKey = ${capnpText(`sotto-${className}`)}, enableSql = true)`,
  )
  const { clusterAdvertise } = instance
  const advertise = clusterAdvertise === undefined ? '' : `\n    advertise = ${capnpText(clusterAdvertise)},`
  return `using Workerd = import "/workerd/workerd.capnp";

const sotto :Workerd.Worker = (
  modules = [(name = "workers.js", esModule = embed ${capnpText(instance.bundle)})],
  compatibilityDate = ${capnpText(worker.compatibilityDate)},
  compatibilityFlags = [${worker.compatibilityFlags.map(capnpText).join(', ')}],
  durableObjectStorage = (localDisk = "databases"),
  durableObjectNamespaces = ${list(namespaces)},
  bindings = ${list(bindings)},
);

const config :Workerd.Config = (
  services = [
    (name = "sotto", worker = .sotto),
    (name = "databases", disk = (path = ${capnpText(instance.disk)}, writable = true)),
    (name = "internet", network = (allow = ["public", "private"], tlsOptions = (trustBrowserCas = true))),
  ],
  sockets = [(name = "http", address = ${capnpText(instance.listen)}, http = (), service = "sotto")],
  cluster = (
    bucket = ${capnpText(instance.clusterBucket)},
    address = ${capnpText(instance.clusterAddress)},${advertise}
    key = ${capnpText(instance.clusterKey)},
  ),
);
`
}
