{{- define "sampan.proxyContainer" -}}
{{ include "sampan.containerImage" (dict "root" . "image" .Values.proxy.image) }}
{{ include "sampan.container" . }}
env:
  - {name: SAMPAN_CONFIG, value: /etc/sampan/sampan.yaml}
resources:
  {{- toYaml .Values.proxy.resources | nindent 2 }}
volumeMounts:
{{- end }}

{{- define "sampan.proxyMounts" -}}
- {name: state, mountPath: /var/lib/sampan}
- {name: tmp, mountPath: /tmp}
- {name: config, mountPath: /etc/sampan/sampan.yaml, subPath: sampan.yaml, readOnly: true}
{{- if .Values.proxy.https.secret.name }}
- {name: tls, mountPath: /etc/sampan/tls, readOnly: true}
{{- end }}
{{- end }}

{{- define "sampan.proxyProbe" -}}
httpGet: {scheme: HTTPS, port: https, path: /_chp_healthz}
{{- end }}

{{- define "sampan.proxyVolumes" -}}
- name: state
  emptyDir: {medium: Memory, sizeLimit: 16Mi}
- name: tmp
  emptyDir: {sizeLimit: 64Mi}
- name: config
  configMap:
    name: sampan-proxy
- name: keys
  secret:
    secretName: {{ include "sampan.keysSecret" . }}
    defaultMode: 0440
    items:
      - {key: proxy-token, path: proxy-token}
      - {key: front-ca.crt, path: front-ca.crt}
      - {key: front-ca.key, path: front-ca.key}
      - {key: jobs-ca.crt, path: jobs-ca.crt}
      - {key: internal-ca.crt, path: internal-ca.crt}
      - {key: internal-ca.key, path: internal-ca.key}
      - {key: ca.crt, path: ca.crt}
      - {key: ca.key, path: ca.key}
{{- with .Values.proxy.https.secret }}
{{- if .name }}
- name: tls
  secret:
    secretName: {{ .name }}
    defaultMode: 0440
    items:
      - {key: {{ .crt | quote }}, path: tls.crt}
      - {key: {{ .key | quote }}, path: tls.key}
      {{- if .ca }}
      - {key: {{ .ca | quote }}, path: ca.crt}
      {{- end }}
{{- end }}
{{- end }}
{{- end }}
