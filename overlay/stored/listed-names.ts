/**
 * Names of listed directories that one layer, or one writable tree, keeps in memory, summed. The directory listed last is
 * kept whatever its size.
 */
export const LISTED_NAMES = 200_000
