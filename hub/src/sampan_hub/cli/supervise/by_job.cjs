"use strict";
// Loaded into the proxy before it starts: whoever answers behind a route over TLS must be the job of that route.
// By itself Node asks for a certificate for the Host header, which here is the browser's: any notebook's would do, so
// also that of another person's job which took the port of one that has just ended. The hub names the job in the
// target (https://<job>@<address>:<port>, `identity/routes.py`). It is the server name too, so that kept connections
// and sessions of one job never serve another.
const https = require("node:https");
const tls = require("node:tls");

const { request } = https;

https.request = function requestOfJob(options, ...rest) {
  const job = new URL(options.url).username;
  const checkServerIdentity = (_name, certificate) =>
    tls.checkServerIdentity(options.hostname, certificate) ??
    (job && certificate.subject.CN === job ? undefined : new Error(`not the job of this route (${job || "none"})`));
  return request.call(this, { ...options, servername: job, checkServerIdentity }, ...rest);
};
