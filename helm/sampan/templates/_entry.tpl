{{- /* How a pod of the chart comes in as jobs do: the address, and by which certificate to know it. */ -}}
{{- define "sampan.entryArgs" -}}
- --ca=/etc/sampan/tls/ca.crt
- https://proxy-public{{ include "sampan.path" . }}
{{- end }}

{{- define "sampan.entryVolume" -}}
secret:
  secretName: {{ include "sampan.keysSecret" . }}
  defaultMode: 0440
  items: [{key: ca.crt, path: ca.crt}]
{{- end }}
