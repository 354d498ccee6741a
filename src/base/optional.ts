type Optional<T> = { readonly [K in keyof T as undefined extends T[K] ? never : K]: T[K] } & {
  readonly [K in keyof T as undefined extends T[K] ? K : never]?: Exclude<T[K], undefined>
}

/** The fields that are there: an absent field and one that is undefined are not the same type here. */
export function omitUndefined<T extends object>(fields: T): Optional<T> {
  return Object.fromEntries(Object.entries(fields).filter(([, value]) => value !== undefined)) as Optional<T>
}

/** The same fields while they are being filled in. */
export type Mutable<T> = { -readonly [K in keyof T]: T[K] }
