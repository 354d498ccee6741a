export { readTar, type TarEntry } from './tar-reader.ts'
