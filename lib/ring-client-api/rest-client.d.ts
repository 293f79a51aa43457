/**
 * A replacement for `ring-client-api/rest-client`: change the import and nothing else. A `RingTokenManager` keeps its tokens, and
 * its requests go through the native core. `docs/migrating.md` lists the differences and the reasons.
 *
 * If ring-client-api is installed, a `RingRestClient` of this package is assignable to one of that package.
 */

import type { RingTokenManager, RingTokenManagerOptions } from '../../index.js'
// @ts-ignore: ring-client-api need not be installed; its type is `any` then.
import type { RingRestClient as TheirRestClient } from 'ring-client-api/rest-client'

/** Whether a type is `any`, which is the type of a package that is not installed. Wrapped, because a condition on a missing type is missing itself. */
type IsAny<T> = { is: 0 } extends { is: 1 & T } ? true : false

/** The public part of ring-client-api's class, and the additional members of this one. */
export type RingRestClient = (IsAny<TheirRestClient> extends true ? StandaloneRestClient : TheirRestClient) &
  RestClientExtras

export const RingRestClient: {
  /**
   * Reads the store. Makes no request.
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

/** Credentials to log in with. The password is not stored. */
export interface EmailAuth {
  email: string
  password: string
  systemId?: string | undefined
}

/** A refresh token to start with. It may be absent if the store holds one. */
export interface RefreshTokenAuth {
  refreshToken?: string | undefined
  systemId?: string | undefined
}

export interface SessionOptions {
  /** The name of this device in the Control Center of Ring's app. Default: `ring-client-api`, as in that package. */
  controlCenterDisplayName?: string | undefined
}

/** Options of the manager. Unknown options, such as those of `RingApi`, are ignored. */
export type RestClientOptions = Omit<RingTokenManagerOptions, 'refreshToken' | 'systemId' | 'controlCenterDisplayName'>

/** Members of every object that `request` resolves with, if Ring's answer has the headers. */
export interface ExtendedResponse {
  /** The header `Date` of the answer, in milliseconds since 1970. */
  responseTimestamp: number
  /** The header `X-Time-Millis` of the answer. */
  timeMillis: number
}

/** The answer to a token request, with the names that Ring uses. */
export interface AuthTokenResponse {
  access_token: string
  /** The remaining lifetime of the access token, in seconds. */
  expires_in: number
  /** The newest refresh token, wrapped. */
  refresh_token: string
  scope: 'client'
  token_type: 'Bearer'
}

/** Options of `request`. */
export interface RestRequestOptions {
  /** The address, on one of Ring's hosts or on a configured server. */
  url: string
  /** `GET`, `POST`, `PUT`, `PATCH`, `DELETE` or `HEAD`. Default: `GET`. */
  method?: string | undefined
  /** Additional headers. The client sets the headers with the account's tokens itself. */
  headers?: Record<string, string> | [string, string][] | Iterable<[string, string]> | undefined
  /** An object that is sent as JSON. */
  json?: object | undefined
  /** A body of any kind that `fetch` accepts. */
  body?: unknown
  /** The form of the result. Default: `'json'`, or text if the answer is not JSON. */
  responseType?: 'json' | 'buffer' | undefined
  /** The time limit of one try, in milliseconds. Default: `requestTimeoutMs`. */
  timeout?: number | undefined
  /** Ends the request, which rejects with `ABORTED`. */
  signal?: AbortSignal | null | undefined
  /** `'follow'` follows redirects within Ring's hosts; any other redirect is an error. Default: `'follow'`. */
  redirect?: 'follow' | 'error' | 'manual' | undefined
  /** `true`: the request is not sent again if there is no answer. */
  allowNoResponse?: boolean | undefined
}

/** The members that this class has in addition to those of ring-client-api's. */
export interface RestClientExtras {
  /** The manager that keeps the tokens: for its status and its events. */
  readonly manager: RingTokenManager
  /** Closes this client and its manager. Waits for a rotation under way. */
  close(): Promise<void>
  /** {@link RestClientExtras.close}, for `await using`. */
  [Symbol.asyncDispose](): Promise<void>
}

/** The class if ring-client-api is not installed. */
export interface StandaloneRestClient {
  /** The newest refresh token, wrapped; until the first rotation, the text that was given. */
  readonly refreshToken: string | undefined
  using2fa: boolean
  /** A sentence to show to the user if a code is needed. */
  promptFor2fa?: string
  readonly onRefreshTokenUpdated: Replayed<{ oldRefreshToken?: string; newRefreshToken: string }>
  /** Emits each new session. */
  readonly onSession: Replayed<any>
  readonly baseSessionMetadata: { api_version: number; device_model: string }
  _internalOnly_pushNotificationCredentials: any
  /** Makes a token request: rotates, logs in, or submits a code. */
  getAuth(twoFactorAuthCode?: string): Promise<AuthTokenResponse>
  /** Resolves with the current access token. Makes a token request only if one is needed. */
  getCurrentAuth(): Promise<AuthTokenResponse>
  /** Makes a session. */
  getSession(): Promise<any>
  request<T = void>(options: RestRequestOptions): Promise<T & ExtendedResponse>
  /** Stops the renewal of the session. A request that waits for its next try rejects with `ABORTED`. */
  clearTimeouts(): void
}

/** An observable that gives a late subscriber the last value. The operators of RxJS 6 and 7 work in `pipe`. */
export interface Replayed<T> {
  subscribe(listener: ((value: T) => void) | { next?(value: T): void }): { unsubscribe(): void }
  pipe(...operators: ((source: any) => any)[]): any
  [Symbol.observable](): any
}
