/** Command lines, without the name of the program, and what they do. */
export const EXAMPLES: readonly (readonly [words: string, text: string])[] = [
  ['mount images:web rootfs', 'the image "web" of the OCI layout in ./images'],
  ['mount -o uid=1000 layer.sqfs dir', 'one squashfs file'],
  ['umount rootfs', 'unmounts, and waits for the process'],
  ['doctor', 'what keeps mounts from working here'],
]
