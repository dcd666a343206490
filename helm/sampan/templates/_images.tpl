{{- /* `registry/repository:tag` of `.image`. */ -}}
{{- define "sampan.image" -}}
{{- $registry := .image.registry | default .root.Values.image.registry -}}
{{- printf "%s/%s:%s" $registry .image.repository (.image.tag | default .root.Chart.AppVersion) -}}
{{- end }}

{{- /* `image:` and `imagePullPolicy:` of a container. */ -}}
{{- define "sampan.containerImage" -}}
image: {{ include "sampan.image" . | quote }}
imagePullPolicy: {{ .image.pullPolicy | default .root.Values.image.pullPolicy }}
{{- end }}

{{- /* `imagePullSecrets:` of a pod or service account, for all of `.images`. */ -}}
{{- define "sampan.pullSecrets" -}}
{{- $names := .root.Values.imagePullSecrets -}}
{{- range .images }}{{ $names = concat $names .pullSecrets }}{{ end -}}
{{- with uniq $names }}
imagePullSecrets:
{{- range . }}
  - name: {{ . }}
{{- end }}
{{- end }}
{{- end }}
