/** Told before each read what is read: the same again for the same read of a later try. */
export type OnRead = (what: string) => void

/** Calls `onRead` before each method of the layer and of its cursors. Blocks of data are read by others, and a generation is at hand. */
export function watched<T extends object>(layer: T, name: string, onRead: OnRead): T {
  let reads = 0
  return new Proxy(layer, {
    get(target, property) {
      const value: unknown = Reflect.get(target, property, target)
      if (typeof value !== 'function') return value
      return (...args: unknown[]) => {
        const plain = args.filter((one) => typeof one !== 'object')
        const what = `${name}.${String(property)}(${plain})`
        // A cursor goes on with each call.
        if (property !== 'block' && property !== 'generation')
          onRead(property === 'next' ? `${what} ${reads++}` : what)
        const result: unknown = Reflect.apply(value, target, args)
        return String(property).startsWith('openDirectory') ? watched(Object(result), what, onRead) : result
      }
    },
  })
}
