"use strict";
// Loaded into the proxy before it starts: whoever answers behind a route over TLS must be whom the route is for.
// By itself Node asks for a certificate for the Host header, which here is the browser's: any notebook's would do, so
// also that of another person's job which took the port of one that has just ended. The hub names the job in the
// target (https://<job>@<address>:<port>, `identity/routes.py`), and so it names itself and the service where they are
// elsewhere. The name is the server name too, so that kept connections and sessions of one never serve another.
const https = require("node:https");
const tls = require("node:tls");
const { urlToHttpOptions } = require("node:url");

const { request } = https;

https.request = function requestOfHolder(options, ...rest) {
  if (typeof options === "string") {
    // The page for an error: the URL comes first, the certificates with the options after it.
    const url = urlToHttpOptions(new URL(options));
    return https.request.call(this, { ...url, ...rest.shift(), url: options, auth: undefined }, ...rest);
  }
  const holder = new URL(options.url).username;
  const hostname = options.hostname; // now: the proxy fills one and the same object for every request
  const checkServerIdentity = (_name, certificate) =>
    tls.checkServerIdentity(hostname, certificate) ??
    (holder && certificate.subject.CN === holder ? undefined : new Error(`not who this route is for (${holder || "none"})`));
  return request.call(this, { ...options, servername: holder, checkServerIdentity }, ...rest);
};
