/**
 * The drop-in for `ring-client-api/rest-client`: change the import, and the rest stays as it is. Its tokens are kept by a
 * `RingTokenManager`, its requests go through the native core. `docs/migrating.md` lists what differs, and why.
 *
 * Where ring-client-api is installed, a `RingRestClient` of this package is assignable to one of that package.
 */

import type { RingTokenManager, RingTokenManagerOptions } from '../../index.js'
// @ts-ignore: ring-client-api need not be installed; its type is `any` then.
import type { RingRestClient as TheirRestClient } from 'ring-client-api/rest-client'

/** Whether a type is `any`: that of what is not installed. Wrapped, because a condition on a missing type itself is missing. */
type IsAny<T> = { is: 0 } extends { is: 1 & T } ? true : false

/** The public part of ring-client-api's own class, and what this one has beyond it. */
export type RingRestClient = (IsAny<TheirRestClient> extends true ? StandaloneRestClient : TheirRestClient) &
  RestClientExtras

export const RingRestClient: {
  /**
   * Reads the store, makes no request.
   *
   * @throws {RingAuthError} `INVALID_ARGUMENT`.
   */
  new (authOptions: (EmailAuth | RefreshTokenAuth) & SessionOptions & RestClientOptions): RingRestClient
  readonly prototype: RingRestClient
}

export function clientApi(path: string): string
export function deviceApi(path: string): string
export function commandsApi(path: string): string
export function appApi(path: string): string

/** To log in with. The password is not written anywhere. */
export interface EmailAuth {
  email: string
  password: string
  systemId?: string | undefined
}

/** To go on with. With a store that holds one it may be left out. */
export interface RefreshTokenAuth {
  refreshToken?: string | undefined
  systemId?: string | undefined
}

export interface SessionOptions {
  /** Default: `ring-client-api`, as there. */
  controlCenterDisplayName?: string | undefined
}

/** The manager's own options. Any other one, such as those of `RingApi`, is ignored. */
export type RestClientOptions = Omit<RingTokenManagerOptions, 'refreshToken' | 'systemId' | 'controlCenterDisplayName'>

/** What every object in an answer has, as far as Ring's answer says it. */
export interface ExtendedResponse {
  /** The `Date` of the answer, in milliseconds since the epoch. */
  responseTimestamp: number
  /** `X-Time-Millis` of the answer. */
  timeMillis: number
}

/** A token with the names of the wire. */
export interface AuthTokenResponse {
  access_token: string
  /** How many seconds are left of it. */
  expires_in: number
  /** Wrapped. */
  refresh_token: string
  scope: 'client'
  token_type: 'Bearer'
}

/** What a request is. */
export interface RestRequestOptions {
  /** On one of Ring's hosts, or on a configured one. */
  url: string
  /** `GET`, `POST`, `PUT`, `PATCH`, `DELETE` or `HEAD`. Default: `GET`. */
  method?: string | undefined
  /** Besides those that carry the account, which are set here. */
  headers?: Record<string, string> | [string, string][] | Iterable<[string, string]> | undefined
  /** Sent as JSON. */
  json?: object | undefined
  /** Anything that `fetch` takes. */
  body?: unknown
  /** Default: `'json'`, or text where the answer is none. */
  responseType?: 'json' | 'buffer' | undefined
  /** For one try, in milliseconds. Default: `requestTimeoutMs`. */
  timeout?: number | undefined
  /** Gives up: the request rejects with `ABORTED`. */
  signal?: AbortSignal | null | undefined
  /** `'follow'` follows a redirect as long as it stays with Ring. Any other one is an error then. Default: `'follow'`. */
  redirect?: 'follow' | 'error' | 'manual' | undefined
  /** Not sent again where there is no answer. */
  allowNoResponse?: boolean | undefined
}

/** What this class has beyond ring-client-api's. */
export interface RestClientExtras {
  /** The manager behind it: its status and its events. */
  readonly manager: RingTokenManager
  /** Ends this client and its manager. Waits for a rotation under way. */
  close(): Promise<void>
  /** {@link RestClientExtras.close}, for `await using`. */
  [Symbol.asyncDispose](): Promise<void>
}

/** The class where ring-client-api is not installed. */
export interface StandaloneRestClient {
  /** The newest one, wrapped; until the first rotation as it was given. */
  readonly refreshToken: string | undefined
  using2fa: boolean
  /** A sentence to show to the user, once a code is needed. */
  promptFor2fa?: string
  readonly onRefreshTokenUpdated: Replayed<{ oldRefreshToken?: string; newRefreshToken: string }>
  /** Each session that was made. */
  readonly onSession: Replayed<any>
  readonly baseSessionMetadata: { api_version: number; device_model: string }
  _internalOnly_pushNotificationCredentials: any
  /** Makes a token request: rotates, or logs in, or hands in a code. */
  getAuth(twoFactorAuthCode?: string): Promise<AuthTokenResponse>
  /** The access token at hand; makes a token request only where one is needed. */
  getCurrentAuth(): Promise<AuthTokenResponse>
  /** Makes a session. */
  getSession(): Promise<any>
  request<T = void>(options: RestRequestOptions): Promise<T & ExtendedResponse>
  /** Stops the renewal of the session; a request that waits for its next try rejects with `ABORTED`. */
  clearTimeouts(): void
}

/** An observable that gives a late subscriber the last value. The operators of RxJS 6 and 7 work in `pipe`. */
export interface Replayed<T> {
  subscribe(listener: ((value: T) => void) | { next?(value: T): void }): { unsubscribe(): void }
  pipe(...operators: ((source: any) => any)[]): any
  [Symbol.observable](): any
}
