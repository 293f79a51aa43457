/** The name of the package, as in `package.json`. */
export const PLUGIN_NAME = 'homebridge-ring-auth-example'

/**
 * The `platform` of the block in `config.json`, the same as `pluginAlias` in `config.schema.json`. Choose a name of your own: the block
 * `Ring` belongs to homebridge-ring, which rotates the token in it.
 */
export const PLATFORM_NAME = 'RingAuthExample'
