// The shapes that lib/manager.js expects, against those that the build generated: needs a build, `npm run typecheck:binding`.
import * as generated from '../../binding/binding.js'
import type { Binding } from '../../lib/manager.js'

export const binding: Binding = generated
export const runCli: (args: string[]) => Promise<number> = generated.runCli
