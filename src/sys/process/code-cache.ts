/** What `src/loader.ts` gives to the program that it runs; absent where a program runs without it. */
declare const __codeCache: { readonly isTaken: boolean; save(): void } | undefined

/**
 * Writes down what V8 has compiled of the program of this thread, for later starts. To be called when the thread has
 * done what a thread of its kind does. It takes some 10 ms, and nothing where the program came from the cache. Never
 * throws.
 */
export function saveCompiledCode(): void {
  if (typeof __codeCache !== 'undefined') __codeCache.save()
}

/** Whether there is nothing to save: the program came compiled, or will not be kept. */
export function isCompiledCodeSaved(): boolean {
  return typeof __codeCache === 'undefined' || __codeCache.isTaken
}
