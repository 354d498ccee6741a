import { searchSafeFoldersOnly } from './package-folders.ts'

// Each program and each of its threads imports this module for its effect, before any module that loads a package.
searchSafeFoldersOnly()
