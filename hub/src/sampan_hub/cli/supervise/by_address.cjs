"use strict";
// Loaded into the proxy before it starts. Node takes the name that a server's certificate must be for from the Host
// header, which here is the browser's and says nothing about who answers at a notebook's address: any notebook's
// certificate for the public name would do. An empty server name makes it check the address that was connected to.
const https = require("node:https");

const { request } = https;

https.request = function requestByAddress(options, ...rest) {
  return request.call(this, { ...options, servername: "" }, ...rest);
};
