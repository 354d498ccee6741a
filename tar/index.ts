export { type BuildOptions, buildIndex, type LayerBlob, type WantedDigest } from './build/build-index.ts'
export { readIndexHeader } from './format/read-header.ts'
export { readTrailer } from './format/trailer.ts'
export { readTar, type StoredPieces, type TarEntry, type TarOddities } from './read/tar-reader.ts'
