/** What `src/loader.ts` gives to the program that it runs; absent where a program runs without it. */
declare const __codeCache:
  | { readonly isTaken: boolean; save(kinds?: bigint): void; leave(): void }
  | undefined

/**
 * Writes down what V8 has compiled of the program of this thread, for later starts. To be called when the thread has
 * done what a thread of its kind does. It takes some 10 ms, and nothing where the program came from the cache with code
 * for all of that. Never throws.
 * @param kinds what the thread has done, a bit for each kind of work; none where all threads of the program do the same
 */
export function saveCompiledCode(kinds?: bigint): void {
  saveForNow(kinds)
  leaveCompiledCode()
}

/** The same for a thread that may save more later. */
export function saveForNow(kinds?: bigint): void {
  if (typeof __codeCache !== 'undefined') __codeCache.save(kinds)
}

/** Nothing more will be saved: what is held for that is closed. */
export function leaveCompiledCode(): void {
  if (typeof __codeCache !== 'undefined') __codeCache.leave()
}

/** Whether there is nothing to save: the program came compiled, or will not be kept. */
export function isCompiledCodeSaved(): boolean {
  return typeof __codeCache === 'undefined' || __codeCache.isTaken
}
