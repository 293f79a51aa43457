// The server of the login page in the settings of this plugin. This is all of it.
import { serve } from 'ring-auth/homebridge-ui'

serve({ platform: 'RingAuthExample' })
