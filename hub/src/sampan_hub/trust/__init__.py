"""Who is believed to be whom where traffic crosses hosts: our own certificate authorities and what they sign.

    entry   the certificate of the proxy's public side (`tls: own`), signed by `ca`, which people may import
    front   what proxy, hub and service show to notebooks, signed by `front-ca`: nobody else may connect to one
    jobs    each notebook's own certificate, signed by `jobs-ca` at its claim: the front connects to nothing else
    hub, service, proxy-api
            what hub, service and the proxy's API show to each other where they run apart (`layout`), signed by
            `internal-ca`; they let in only who shows a `front`

All lie in the state folder's `tls/`; authorities sign for one use only, so that none can stand in for another.
"""
