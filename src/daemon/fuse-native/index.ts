export { serveByFuseNative } from './serve.ts'
