// @ts-check
// The files of the JavaScript suite.
import { readdirSync } from 'node:fs'
import { join } from 'node:path'
import { root } from './command.mjs'

/**
 * The test files below a folder of this project, as paths from the root, with slashes. Folders of packages are not entered: some have thousands of
 * files, or names that not every system can read.
 * @param {string} folder
 * @returns {string[]}
 */
export function testFiles(folder) {
  return readdirSync(join(root, folder), { withFileTypes: true }).flatMap((entry) => {
    const path = `${folder}/${entry.name}`
    if (entry.isDirectory()) return entry.name === 'node_modules' ? [] : testFiles(path)
    return entry.name.endsWith('.test.mjs') ? [path] : []
  })
}
