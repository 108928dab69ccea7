import { describeVectors } from '../../test/vectors/zo.ts'
import { direction, mergeProduct, perturbedFactors, portableKernels } from './index.ts'

describeVectors('plain TypeScript', { direction, perturbedFactors, mergeProduct, ...portableKernels })
