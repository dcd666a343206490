// A real OpenID Connect provider on 127.0.0.1: whoever fills in its form is who they say. For tests alone.
// argv: PORT REDIRECT_URI CLIENT_SECRET. Prints "ready" when it listens.
import { createRequire } from "node:module";
import { pathToFileURL } from "node:url";

const require = createRequire(process.env.OIDC_MODULES + "/package.json");
const { default: Provider } = await import(pathToFileURL(require.resolve("oidc-provider")));

const [port, redirectUri, clientSecret] = process.argv.slice(2);
const provider = new Provider(`http://127.0.0.1:${port}`, {
  clients: [
    {
      client_id: "sampan",
      client_secret: clientSecret,
      redirect_uris: [redirectUri],
      grant_types: ["authorization_code"],
      response_types: ["code"],
    },
  ],
  claims: { openid: ["sub"], profile: ["preferred_username"] },
  cookies: { keys: ["only-for-tests"] },
  features: { devInteractions: { enabled: true } },
  pkce: { required: () => true },
  async findAccount(_context, id) {
    return { accountId: id, claims: async () => ({ sub: id, preferred_username: id }) };
  },
});

provider.listen(Number(port), "127.0.0.1", () => console.log("ready"));
