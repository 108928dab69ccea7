import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { create, fromBinary, toBinary } from '@bufbuild/protobuf'
import fc from 'fast-check'
import { afterAll, expect, it } from 'vitest'
import { zooModels } from '../../../test/models/zoo.ts'
import { GraphProtoSchema, ModelProtoSchema, NodeProtoSchema, TensorProtoSchema } from '../onnx/onnx_pb.ts'
import { readSkeleton } from './skeleton.ts'

const root = mkdtempSync(join(tmpdir(), 'sotto-skeleton-'))
afterAll(() => rmSync(root, { recursive: true }))
const path = join(root, 'model.onnx')

/** What the library makes of the file, and of its skeleton with the bytes put back. */
function restored(file: string) {
  const { bytes, places } = readSkeleton(file)
  const model = fromBinary(ModelProtoSchema, bytes)
  const whole = readFileSync(file)
  for (const tensor of model.graph?.initializer ?? []) {
    const place = places.get(tensor.name)
    if (place) tensor.rawData = new Uint8Array(whole.subarray(place.offset, place.offset + place.length))
  }
  return { model, bytes, places }
}

it.each(zooModels().map(({ name, dir }) => [name, dir]))('%s: the same message, without its weights', (_, dir) => {
  const file = join(dir, 'onnx/model.onnx')
  const whole = readFileSync(file)
  const { model, bytes, places } = restored(file)
  expect(
    Buffer.from(toBinary(ModelProtoSchema, model)).equals(
      toBinary(ModelProtoSchema, fromBinary(ModelProtoSchema, whole)),
    ),
  ).toBe(true)
  const left = [...places.values()].reduce((sum, { length }) => sum + length, 0)
  expect(bytes.length).toBeLessThanOrEqual(whole.length - left)
})

it('property: any tensors, names and sizes, and fields it does not know', () => {
  const tensor = fc.record({ name: fc.string({ maxLength: 20 }), size: fc.oneof(fc.nat(2000), fc.constant(3_000_000)) })
  fc.assert(
    fc.property(fc.uniqueArray(tensor, { selector: ({ name }) => name, maxLength: 5 }), fc.string(), (tensors, doc) => {
      const model = create(ModelProtoSchema, {
        docString: doc,
        irVersion: 2n ** 40n,
        graph: create(GraphProtoSchema, {
          node: [create(NodeProtoSchema, { name: 'node', opType: 'Add', input: ['a'.repeat(300)] })],
          initializer: tensors.map(({ name, size }) =>
            create(TensorProtoSchema, { name, dims: [BigInt(size)], rawData: new Uint8Array(size).fill(name.length) }),
          ),
        }),
      })
      const unknown = Uint8Array.of(((1000 * 8) % 128) | 128, Math.floor((1000 * 8) / 128), 7)
      writeFileSync(path, Buffer.concat([toBinary(ModelProtoSchema, model), unknown]))
      const back = restored(path)
      expect(Buffer.from(toBinary(ModelProtoSchema, back.model)).equals(readFileSync(path))).toBe(true)
      const large = tensors.filter(({ size }) => size > 1024)
      expect([...back.places.keys()].sort()).toEqual(large.map(({ name }) => name).sort())
    }),
    { numRuns: 25 },
  )
})

it('refuses a file cut anywhere', () => {
  const whole = readFileSync(join(zooModels()[0]!.dir, 'onnx/model.onnx'))
  for (const length of [1, 7, 100, 5000, whole.length - 1]) {
    writeFileSync(path, whole.subarray(0, length))
    expect(() => fromBinary(ModelProtoSchema, readSkeleton(path).bytes), String(length)).toThrow()
  }
})
