import { searchSafeFoldersOnly } from './package-folders.ts'

// Imported for its effect, before anything that loads a package, by each program and each of its threads.
searchSafeFoldersOnly()
