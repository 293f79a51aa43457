// `ring-auth/web`: the login page, on a server of its own or on yours.

import type { IncomingMessage, ServerResponse } from 'node:http'
import type { RingTokenManager } from '../../index.js'
import type { PageTexts } from './texts-types.js'

export type { PageTexts } from './texts-types.js'

/** Options of {@link serveLogin}. */
export interface ServeLoginOptions {
  /** The address to listen on. Default: `127.0.0.1`. With any other one the password crosses the network in the clear, unless there is `tls`. */
  host?: string | undefined
  /** The port. Default: 0, any free one. */
  port?: number | undefined
  /** Names that the browser may use for this machine, besides its addresses, `localhost` and its own name. */
  allowedHosts?: readonly string[] | undefined
  /** A certificate and its key, as for `https.createServer`. */
  tls?: { cert: string | Uint8Array; key: string | Uint8Array } | undefined
  /** Ends the server. */
  signal?: AbortSignal | undefined
  /** Your own sentences, by language. */
  texts?: Record<string, PageTexts> | undefined
  /** Whether your program prints a token that could not be stored, which the page then says. Default: `false`. */
  printsToken?: boolean | undefined
}

/** What {@link serveLogin} resolves with. */
export interface LoginServer {
  /** The link for the person who logs in. Its fragment is a secret: show it to that person alone. */
  url: string
  /**
   * Resolves when somebody has logged in and the page has its answer or has gone. Without a login it rejects: with
   * `NO_REFRESH_TOKEN` after 15 minutes, or 10 minutes after the last request, and with `ABORTED` after the signal, `close()` or
   * five wrong secrets.
   */
  done: Promise<void>
  /** Ends the server. */
  close(): Promise<void>
}

/**
 * Serves the login page until somebody has logged in with it.
 *
 * @throws {RingAuthError} `INVALID_ARGUMENT`: also if the server cannot listen there. `ABORTED`.
 *
 * @example
 * const { url, done } = await serveLogin(manager)
 * console.log(`Ring needs a login: ${url}`)
 * await done
 */
export function serveLogin(manager: RingTokenManager, options?: ServeLoginOptions): Promise<LoginServer>

/**
 * The login page as a handler of your own server, for a path that ends with a slash. It has no protection of its own against
 * strangers: put it behind your program's login.
 *
 * @example
 * app.use('/ring/', requireLogin, loginHandler(manager))
 */
export function loginHandler(
  manager: RingTokenManager,
  options?: { texts?: Record<string, PageTexts> | undefined },
): (request: IncomingMessage, response: ServerResponse) => void
