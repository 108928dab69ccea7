/** The part of the WebAssembly API that the kernels use; the library that declares it whole is the browser's. */
declare namespace WebAssembly {
  class Module {
    constructor(bytes: ArrayBufferView)
    static imports(module: Module): { module: string; name: string; kind: string }[]
  }
  class Memory {
    constructor(pages: { initial: number; maximum: number })
    readonly buffer: ArrayBuffer
  }
  class Instance {
    constructor(module: Module, imports: { env: { memory: Memory } })
    readonly exports: Readonly<Record<string, unknown>>
  }
}
