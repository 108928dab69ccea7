/** A positive double is exactly mantissa * 2^exponent; privacy code computes with that, not with its rounding. */
export interface Dyadic {
  /** 0 or more. */
  readonly mantissa: bigint
  readonly exponent: number
}

/** Exact value of a finite double of 0 or more. The caller has checked the range. */
export const exactDyadic = (value: number): Dyadic => {
  const view = new DataView(new ArrayBuffer(8))
  view.setFloat64(0, value)
  const bits = view.getBigUint64(0)
  const biased = Number(bits >> 52n)
  const fraction = bits & 0xfffffffffffffn
  // Subnormals share the exponent of the smallest normals and lack the leading one.
  return biased === 0
    ? { mantissa: fraction, exponent: -1074 }
    : { mantissa: fraction | 0x10000000000000n, exponent: biased - 1075 }
}

/** floor(value * 2^shift), exactly, for a value of 0 or more and a shift of either sign. */
export const shiftLeft = (value: bigint, shift: number): bigint =>
  shift >= 0 ? value << BigInt(shift) : value >> BigInt(-shift)
