// `ring-auth/web`: the login page, on a server of its own or on yours.

import type { IncomingMessage, ServerResponse } from 'node:http'
import type { RingTokenManager } from '../../index.js'
import type { PageTexts } from './texts-types.js'

export type { PageTexts } from './texts-types.js'

/** Options of {@link serveLogin}. */
export interface ServeLoginOptions {
  /** The address to listen on. Default: `127.0.0.1`. With any other address and without `tls`, the password crosses the network unencrypted. */
  host?: string | undefined
  /** The port. Default: 0, which means any free one. */
  port?: number | undefined
  /** Names that the browser may use for this machine, besides its addresses, `localhost` and its own name. */
  allowedHosts?: readonly string[] | undefined
  /** A certificate and its key, as for `https.createServer`. */
  tls?: { cert: string | Uint8Array; key: string | Uint8Array } | undefined
  /** Stops the server. */
  signal?: AbortSignal | undefined
  /** Your own sentences, by language. */
  texts?: Record<string, PageTexts> | undefined
  /** `true`: your program prints a token that could not be stored, and the page tells the visitor. Default: `false`. */
  printsToken?: boolean | undefined
}

/** The server that {@link serveLogin} has started. */
export interface LoginServer {
  /** The link for the person who logs in. Its fragment is a secret: show it only to that person. */
  url: string
  /**
   * Resolves after a login, when the page has got its answer or was closed. Without a login it rejects: with `NO_REFRESH_TOKEN`
   * after 15 minutes, or 10 minutes after the last request, and with `ABORTED` after the signal, `close()` or five wrong secrets.
   */
  done: Promise<void>
  /** Stops the server. */
  close(): Promise<void>
}

/**
 * Serves the login page until a person has logged in with it.
 *
 * @throws {RingAuthError} `INVALID_ARGUMENT`: an option is invalid, or the server cannot listen at that address. `ABORTED`.
 *
 * @example
 * const { url, done } = await serveLogin(manager)
 * console.log(`Ring needs a login: ${url}`)
 * await done
 */
export function serveLogin(manager: RingTokenManager, options?: ServeLoginOptions): Promise<LoginServer>

/**
 * Returns the login page as a request handler for your own server, for a path that ends with a slash. The handler accepts every
 * request: put it behind your program's login.
 *
 * @example
 * app.use('/ring/', requireLogin, loginHandler(manager))
 */
export function loginHandler(
  manager: RingTokenManager,
  options?: { texts?: Record<string, PageTexts> | undefined },
): (request: IncomingMessage, response: ServerResponse) => void
