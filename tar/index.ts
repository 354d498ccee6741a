export { readTar, type TarEntry, type TarOddities } from './tar-reader.ts'
