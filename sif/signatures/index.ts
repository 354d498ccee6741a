/** Signatures of SIF files: what they cover, and whether it is so. */
export { checkWhole } from './digests.ts'
export { readPublicKey, type TrustedKeys } from './signers.ts'
export {
  type ObjectVerdict,
  type SignatureOptions,
  type SignaturesReport,
  type SignatureVerdict,
  signedBytes,
  signedDigestsOf,
  verifySignatures,
} from './verify.ts'
