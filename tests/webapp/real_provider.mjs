// A standard OpenID Connect provider for the tests: the `oidc-provider` package with what we use.
// Arguments: port, the studio's URL. Prints "ready" when it listens.
import Provider from 'oidc-provider';

const [port, studio] = process.argv.slice(2);
const closed = new Set(); // accounts that the tests have closed

const provider = new Provider(`http://127.0.0.1:${port}`, {
  clients: [{
    client_id: 'atelier',
    client_secret: 'a-secret-of-the-tests',
    redirect_uris: [`${studio}/callback/oidc`],
    post_logout_redirect_uris: [`${studio}/signed-out`],
    backchannel_logout_uri: `${studio}/backchannel-logout/oidc`,
    backchannel_logout_session_required: true,
    grant_types: ['authorization_code', 'refresh_token'],
    scope: 'openid email profile offline_access',
  }],
  pkce: { required: () => true },
  features: {
    devInteractions: { enabled: true },
    rpInitiatedLogout: { enabled: true },
    backchannelLogout: { enabled: true },
  },
  claims: { openid: ['sub'], email: ['email', 'email_verified'], profile: ['name'] },
  findAccount: (_, id) => (closed.has(id) ? undefined : {
    accountId: id,
    claims: () => ({ sub: id, email: `${id}@example.org`, email_verified: true, name: id }),
  }),
  rotateRefreshToken: true,
  ttl: { AccessToken: 120, IdToken: 300, RefreshToken: 3600, Session: 3600, Grant: 3600, Interaction: 600 },
  cookies: { keys: ['a key of the tests'] },
  // It refuses to call loopback by default; here everything is on loopback.
  fetch: (url, { dispatcher, ...options }) => globalThis.fetch(url, options),
});

provider.use(async (ctx, next) => {
  if (ctx.method === 'PUT' && ctx.path.startsWith('/closed/')) {
    closed.add(ctx.path.split('/')[2]);
    ctx.status = 204;
  } else {
    await next();
  }
});

provider.listen(Number(port), '127.0.0.1', () => console.log('ready'));
