// @ts-check
// What can be said of a published binary without running it: `node scripts/cross/check.mjs FILE …` checks files that have their published names.
// `npm run build:cross` checks what it built, and the release workflow what it built, by the same rules.
import { readFileSync, statSync } from 'node:fs'
import { basename } from 'node:path'
import { binaryOf } from '../packages.mjs'
import { Failure, asCommand, isMain } from '../command.mjs'
import { checkElf, namesInMusl } from './elf.mjs'
import { checkMacho, namesInList } from './macho.mjs'
import { checkPe } from './pe.mjs'
import { MAX_BYTES, TARGETS, chosen } from './platforms.mjs'
import { Damaged } from './tables.mjs'
import { oldestSystems } from './toolchain.mjs'

/**
 * What is wrong with a binary, and what else was found of it.
 * @param {string} platform
 * @param {Buffer} bytes
 * @param {() => { macos: string, musl: string }} lists where those of the oldest systems lie; asked for where they are needed
 * @returns {{ size: number, problems: string[], notes: string[] }}
 */
export function check(platform, bytes, lists) {
  const [system, arch = ''] = platform.split('-')
  const { glibc } = TARGETS[platform] ?? {}
  const size = bytes.length
  const tooLarge = size > MAX_BYTES ? [`it has ${size} bytes, more than ${MAX_BYTES}`] : []
  try {
    const { problems, notes } =
      system === 'win32'
        ? checkPe(bytes, { arch })
        : system === 'darwin'
          ? checkMacho(bytes, { arch, system: namesInList(readFileSync(lists().macos, 'utf8'), arch) })
          : checkElf(bytes, { arch, glibc, musl: glibc ? new Set() : namesInMusl(readFileSync(lists().musl, 'utf8')) })
    return { size, problems: [...tooLarge, ...problems], notes }
  } catch (error) {
    // Node throws a RangeError if the place that is read is not there. Its sentence is about Node's buffer.
    const reason =
      error instanceof Damaged ? error.message : error instanceof RangeError ? 'a part of it is not there' : undefined
    if (reason === undefined) throw error
    return { size, problems: [...tooLarge, `it is cut off or damaged: ${reason}`], notes: [] }
  }
}

if (isMain(import.meta.url)) {
  const files = process.argv.slice(2)
  if (files.length === 0) {
    console.error('usage: node scripts/cross/check.mjs FILE …')
    process.exit(2)
  }
  const platforms = chosen(
    files.map((file) => /^ring-auth\.([\w-]+)\.node$/.exec(basename(file))?.[1] ?? basename(file)),
  )
  await asCommand(() => {
    for (const [index, file] of files.entries()) {
      const platform = platforms[index] ?? ''
      if (statSync(file).isDirectory()) throw new Failure(`${file} is a folder`)
      const { size, problems, notes } = check(platform, readFileSync(file), oldestSystems)
      console.log([`${binaryOf(platform)}: ${size} bytes`, notes.join(', ')].filter(Boolean).join('; '))
      for (const problem of problems) console.error(`${binaryOf(platform)}: ${problem}`)
      if (problems.length > 0) process.exitCode = 1
    }
  })
}
