{{- /* How a pod of the chart comes in as jobs do: the address, and by which certificate to know it. */ -}}
{{- define "sampan.entryArgs" -}}
- https://proxy-public{{ include "sampan.path" . }}
{{- with .Values.proxy.https.secret }}
{{- if not .name }}
- --ca=/etc/sampan/tls/ca.crt
{{- else if .ca }}
- --ca=/etc/sampan/tls/{{ .ca }}
{{- end }}
{{- end }}
{{- end }}

{{- define "sampan.entryVolume" -}}
secret:
  defaultMode: 0440
  {{- with .Values.proxy.https.secret }}
  {{- if .name }}
  secretName: {{ .name }}
  items: [{key: {{ .ca | default .crt | quote }}, path: {{ .ca | default .crt | quote }}}]
  {{- else }}
  secretName: {{ include "sampan.keysSecret" $ }}
  items: [{key: ca.crt, path: ca.crt}]
  {{- end }}
  {{- end }}
{{- end }}
