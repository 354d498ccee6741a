import type { RunConfig } from './image-config.ts'

const PREFIX = 'org.opencontainers.image.'

/**
 * The annotations of a container: what its image says of itself (image-spec: conversion.md, "Annotation Fields" and "Parsed
 * Fields"). A label of the same name counts more.
 */
export function annotationsOf(config: RunConfig): Record<string, string> {
  const derived = {
    ...config.facts,
    stopSignal: config.stopSignal,
    exposedPorts: [...config.exposedPorts].sort().join(','),
  }
  const own = Object.entries(derived)
    .filter(([, value]) => value !== '')
    .map(([name, value]) => [`${PREFIX}${name}`, value])
  return { ...Object.fromEntries(own), ...config.labels }
}
