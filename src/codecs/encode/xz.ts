import { addressOf } from '../../sys/ffi/ffi.ts'
import { libraryLabel, SizeCell, systemLibrary } from '../common/native.ts'
import { DEFAULT_LEVELS, type Encoder, type EncoderCandidate, type EncoderSettings } from './encoder.ts'

const LIBLZMA = 'liblzma.so.5'
const LZMA_OK = 0
const LZMA_CHECK_CRC32 = 1
/** lzma/lzma12.h: LZMA_FILTER_LZMA2. */
const LZMA2 = 0x21n
const LAST_FILTER = 0xffff_ffff_ffff_ffffn
/** lzma_options_lzma has 112 bytes on 64-bit machines; its first field is the dictionary size. */
const OPTIONS_ROOM = 256
/** lzma_filter: an id of 64 bits and a pointer. */
const FILTER_SIZE = 16
/** The kernel takes no smaller dictionary (fs/squashfs/xz_wrapper.c). */
const LEAST_DICTIONARY = 8192
const ARCHITECTURES_64_LITTLE = ['x64', 'arm64', 'riscv64', 'loong64']

/** One xz stream a block, with CRC32 and a dictionary of one block, as mksquashfs writes it. */
function openLiblzma({ level = DEFAULT_LEVELS.xz, blockSize }: EncoderSettings): Encoder | undefined {
  const library = ARCHITECTURES_64_LITTLE.includes(process.arch) ? systemLibrary(LIBLZMA) : undefined
  if (library === undefined) return undefined
  const options = Buffer.alloc(OPTIONS_ROOM)
  const failed = library.bind('uint8_t lzma_lzma_preset(void *options, uint32_t preset)')(options, level)
  if (Number(failed) !== 0) return undefined
  options.writeUInt32LE(Math.max(blockSize, LEAST_DICTIONARY), 0)
  const filters = Buffer.alloc(2 * FILTER_SIZE)
  filters.writeBigUInt64LE(LZMA2, 0)
  filters.writeBigUInt64LE(BigInt(addressOf(options)), 8)
  filters.writeBigUInt64LE(LAST_FILTER, FILTER_SIZE)
  const encode = library.bind(
    'int lzma_stream_buffer_encode(void *filters, int check, void *allocator, const void *in, size_t in_n, void *out, void *out_pos, size_t out_n)',
  )
  const position = new SizeCell()
  return {
    name: 'xz',
    tier: 'system',
    library: libraryLabel(library, 'const char *lzma_version_string(void)'),
    encode(input, output) {
      position.value = 0
      // `options` is used through its address in `filters`.
      const result = Number(
        encode(filters, LZMA_CHECK_CRC32, null, input, input.length, output, position.bytes, output.length),
      )
      return result === LZMA_OK && options.length > 0 ? position.value : 0
    },
  }
}

export const XZ_ENCODERS: readonly EncoderCandidate[] = [
  { name: 'xz', tier: 'system', library: LIBLZMA, open: openLiblzma },
]
