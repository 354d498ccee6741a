export { DOCKER_ARCHIVE } from './docker-archive.ts'
export { OCI_ARCHIVE } from './oci-archive.ts'
