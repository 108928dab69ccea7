{{/* The pod of a worker: no port, no token of the cluster, data that it can only read, and a state that outlives it. */}}
{{- define "sotto.workerPod" -}}
{{- $root := .root -}}
{{- $worker := .settings -}}
{{- $labels := dict "root" $root "component" "worker" "worker" $worker.name "dataset" $worker.dataset -}}
metadata:
  labels:
    {{- include "sotto.labels" $labels | nindent 4 }}
  {{- with $worker.podAnnotations }}
  annotations:
    {{- toYaml . | nindent 4 }}
  {{- end }}
spec:
  automountServiceAccountToken: false
  enableServiceLinks: false
  terminationGracePeriodSeconds: {{ $worker.terminationGraceSeconds }}
  {{- if eq $worker.kind "Job" }}
  restartPolicy: Never
  {{- end }}
  {{- with $worker.runtimeClassName }}
  runtimeClassName: {{ . }}
  {{- end }}
  {{- with $root.Values.imagePullSecrets }}
  imagePullSecrets:
    {{- range . }}
    - name: {{ . }}
    {{- end }}
  {{- end }}
  securityContext:
    {{- include "sotto.podSecurity" $root | nindent 4 }}
    {{- with $worker.supplementalGroups }}
    supplementalGroups:
      {{- toYaml . | nindent 6 }}
    {{- end }}
  containers:
    - name: worker
      image: {{ printf "%s:%s" $worker.image.repository $worker.image.tag | quote }}
      imagePullPolicy: {{ $worker.image.pullPolicy }}
      args:
        - --data=/data/{{ $worker.data.file }}
        - --state=/state
        - --json
        - --device={{ $worker.device }}
        - --threads={{ $worker.threads }}
        - --unit={{ $worker.unit }}
        - --beat={{ $worker.beatSeconds }}
        {{- if eq $worker.kind "Job" }}
        - --idle={{ $worker.idleSeconds }}
        {{- end }}
        {{- with $worker.labels }}
        - --labels={{ join "," . }}
        {{- end }}
        {{- $policy := $worker.policy }}
        {{- range $policy.accept }}
        - --accept={{ . }}
        {{- end }}
        {{- range $policy.witnesses }}
        - {{ printf "--witness=%s" . | quote }}
        {{- end }}
        {{- with $policy.logKey }}
        - --log-key={{ . }}
        {{- end }}
        {{- with $policy.maxEpsilon }}
        - --max-epsilon={{ . }}
        {{- end }}
        {{- with $policy.maxDelta }}
        - --max-delta={{ . }}
        {{- end }}
        {{- with $policy.lifetimeEpsilon }}
        - --lifetime-epsilon={{ . }}
        {{- end }}
        {{- with $policy.lifetimeDelta }}
        - --lifetime-delta={{ . }}
        {{- end }}
      env:
        - name: SOTTO_COORDINATOR
          value: {{ include "sotto.coordinatorUrl" $root | quote }}
        - name: SOTTO_TOKEN
          valueFrom:
            secretKeyRef:
              {{- toYaml $worker.tokenSecret | nindent 14 }}
      securityContext:
        {{- include "sotto.containerSecurity" $root | nindent 8 }}
      resources:
        {{- $limits := deepCopy ($worker.resources.limits | default dict) }}
        {{- if $worker.gpus }}
        {{- $_ := set $limits $worker.gpuResource $worker.gpus }}
        {{- end }}
        {{- toYaml (dict "requests" $worker.resources.requests "limits" $limits) | nindent 8 }}
      volumeMounts:
        - {name: data, mountPath: /data, readOnly: true}
        - {name: state, mountPath: /state}
        - {name: tmp, mountPath: /tmp}
  volumes:
    - name: data
      persistentVolumeClaim:
        claimName: {{ $worker.data.claimName }}
        readOnly: true
    - name: state
      persistentVolumeClaim:
        claimName: {{ include "sotto.name" (dict "root" $root "part" (printf "%s-state" $worker.name)) }}
    - name: tmp
      emptyDir:
        sizeLimit: 1Gi
  {{- with $worker.nodeSelector }}
  nodeSelector:
    {{- toYaml . | nindent 4 }}
  {{- end }}
  {{- with $worker.tolerations }}
  tolerations:
    {{- toYaml . | nindent 4 }}
  {{- end }}
  {{- with $worker.affinity }}
  affinity:
    {{- toYaml . | nindent 4 }}
  {{- end }}
{{- end -}}

{{/*
A Job of a worker. Exit codes 1 and 2 want a person; what an eviction or a lost spot machine ends is started again, once the pod
before is gone, and goes on where it was.
*/}}
{{- define "sotto.workerJob" -}}
backoffLimit: {{ .settings.retries }}
podReplacementPolicy: Failed
podFailurePolicy:
  rules:
    - action: Ignore
      onPodConditions:
        - {type: DisruptionTarget, status: 'True'}
    - action: FailJob
      onExitCodes:
        containerName: worker
        operator: In
        values: [1, 2]
template:
  {{- include "sotto.workerPod" . | nindent 2 }}
{{- end -}}
