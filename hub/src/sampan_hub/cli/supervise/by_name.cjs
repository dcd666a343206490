"use strict";
// Loaded into the proxy before it starts, where a site shows a certificate of its own to people: whoever asks for a
// name of Sampan's own entry certificate (SAMPAN_OWN_ENTRY, without .crt and .key) is shown that one. So jobs in the
// cluster come in by a name that no public authority would sign.
const fs = require("node:fs");
const https = require("node:https");
const tls = require("node:tls");
const { X509Certificate } = require("node:crypto");

const entry = process.env.SAMPAN_OWN_ENTRY;
const cert = fs.readFileSync(`${entry}.crt`);
const own = tls.createSecureContext({ cert, key: fs.readFileSync(`${entry}.key`) });
const certificate = new X509Certificate(cert);
const { createServer } = https;

https.createServer = function createServerOfBoth(options, ...rest) {
  const SNICallback = (name, done) => done(null, certificate.checkHost(name) ? own : undefined);
  return createServer.call(this, { ...options, SNICallback }, ...rest);
};
