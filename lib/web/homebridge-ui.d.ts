// `ring-auth/homebridge-ui`: the login page inside the settings of a Homebridge plugin.

import type { RingTokenManagerOptions, StoreKey } from '../../index.js'
import type { PageTexts } from './texts-types.js'

export type { PageTexts } from './texts-types.js'

/** Options of {@link serve} and {@link mount}. */
export interface HomebridgeUiOptions {
  /** The `platform` of the plugin's block in `config.json`. */
  platform: string
  /** The folder of the journal, if the plugin's own manager has one. Default: `.ring-auth` beside `config.json`. */
  statePath?: string | undefined
  /** The key with which the plugin's own manager seals its journal, if it does. */
  key?: StoreKey | undefined
  /** Options of the manager that logs in. Use the same ones as in the plugin. */
  managerOptions?:
    | Pick<
        RingTokenManagerOptions,
        'controlCenterDisplayName' | 'userAgent' | 'loginFlow' | 'systemId' | 'oauthUrl' | 'apiUrl' | 'requestTimeoutMs'
      >
    | undefined
  /** Your own sentences, by language. */
  texts?: Record<string, PageTexts> | undefined
  /** Whether the form of `config.schema.json` is shown after the login. Default: `true`. */
  schemaForm?: boolean | undefined
}

/** The part of a `HomebridgePluginUiServer` that {@link mount} needs. */
export interface RequestServer {
  // biome-ignore lint/suspicious/noExplicitAny: as Homebridge's own types have it
  onRequest(path: string, handler: (body: any) => unknown): void
}

/**
 * Serves the login page. This call is all that a plugin's `homebridge-ui/server.js` needs.
 *
 * @example
 * require('ring-auth/homebridge-ui').serve({ platform: 'ExampleRing' })
 */
export function serve(options: HomebridgeUiOptions): void

/**
 * Adds the login page to an existing UI server of a plugin. Call it before the server's `ready()`.
 *
 * @returns A function that waits for a login that is being stored. Call it when the dialogue ends.
 */
export function mount(server: RequestServer, options: HomebridgeUiOptions): () => Promise<void>
